"""Executes notebook.ipynb in a kernel, as a Jupyter server does when somebody runs all of its cells."""

import os
import sys

import nbformat
from nbclient import NotebookClient

if __name__ == "__main__":
    os.environ["RUN_FOLDER"] = sys.argv[1]
    notebook = nbformat.read("notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
