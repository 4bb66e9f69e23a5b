"""The Debian package: built from the project alone, and tried in a Debian of its own."""
