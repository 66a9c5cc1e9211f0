"""What the tests share: the real git as a driver, prepared objects, and a model of a ref store."""
