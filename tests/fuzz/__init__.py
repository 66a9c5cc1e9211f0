"""Programs that search for longer than a test run may take; pytest does not collect them."""
