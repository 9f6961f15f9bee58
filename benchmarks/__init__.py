"""What the numbers of the README and the documents come from: see README.md here."""
