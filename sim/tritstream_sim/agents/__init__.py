"""What stands at a component's ports in a bench, and the contracts that are proved."""
