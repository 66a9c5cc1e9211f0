"""The tests of the reftable engine; one file for each of its modules, and some that span them."""
