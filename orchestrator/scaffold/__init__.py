"""What is written into a user's project; the wheel carries terraform/modules and terraform/envs in here."""
