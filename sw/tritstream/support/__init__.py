"""What every program needs: files, caches, tools."""
