"""Documents and tables that simulations write."""
