"""The program that has LiteDRAM write a controller: alone of all, it imports that."""
