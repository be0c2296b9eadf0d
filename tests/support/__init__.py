"""What the tests of the programs share."""
