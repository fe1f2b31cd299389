"""What actions do, and how machines move through their states over time."""
