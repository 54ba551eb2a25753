"""Tools for developers of this repository. No service and no image contains them."""
