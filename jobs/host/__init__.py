"""What a host has for jobs: its GPUs, or shares of its cores, and what others do with them."""
