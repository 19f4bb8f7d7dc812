"""From a Git commit to an image in ECR, named by its digest: source → engine (build, push) → checked against ECR; and on, by copy,
to the registries of other environments.
"""
