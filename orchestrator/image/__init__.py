"""From a Git commit to an image in ECR, named by its digest: source → engine (build, push) → checked against ECR."""
