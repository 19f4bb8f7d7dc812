"""The lock of an environment, which keeps two runs from changing it at once: `held` asks S3, `record` reads what it holds."""
