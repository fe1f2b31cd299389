"""What the processes tell about themselves: every log field and every metric has its one home here."""
