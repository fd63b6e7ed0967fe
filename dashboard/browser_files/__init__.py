"""What runs in the browser, as it goes out: our modules and styles, and the bundles of Dash."""
