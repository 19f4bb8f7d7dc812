"""Terraform behind five calls: find the binary, init when needed, plan, apply a saved plan, decode the output `orch`.

python_terraform is used here alone, and only to build argv; process.py runs it. Facts come from `-json` streams,
`show -json` and exit codes, never from text meant for people.
"""
