"""From files to arrays: each step a function on arrays or images, with units in its docstring."""
