"""Pages in a real Chromium: how soon, how smooth, how heavy."""
