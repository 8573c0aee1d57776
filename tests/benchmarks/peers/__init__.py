"""Other methods that make images: their own packages, in an environment of their own, called as separate processes.

`environment.run_peer` is the way in. The other files are run by that environment's interpreter and import nothing of
this project.
"""
