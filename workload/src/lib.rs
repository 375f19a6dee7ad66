//! A CELLxGENE Census client on libtiledb.
