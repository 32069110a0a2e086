"""The code, broken on purpose: for each mistake that would lose or double something, the test that fails of it."""
