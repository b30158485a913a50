"""The contract: what a service routes, handles, reads and writes, as a file that is compared with the next version."""
