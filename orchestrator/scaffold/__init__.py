"""What is written into a user's project, and how it is kept up to date there.

    answers   what must be known of the project, and what can be found out
    files     answers → files, from the templates here and the Terraform modules that the package carries
    merge     what becomes of each file: written, merged, kept, or a conflict

In the wheel terraform/{modules,envs,bootstrap} of the repository lie in here too.
"""
