"""The TrailSeal server: an append-only, provable audit log over HTTP."""
