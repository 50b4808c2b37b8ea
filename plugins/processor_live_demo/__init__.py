"""All that a machine with nothing but Python needs to see the live channel run."""
