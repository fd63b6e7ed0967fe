"""The device was idle: which samples of the host its idle seconds are given to, by ordered rules."""
