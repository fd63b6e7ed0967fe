"""Who may ask what when: dear questions take turns."""
