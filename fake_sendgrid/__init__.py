"""A local SendGrid for demo, tests and benchmarks. It knows nothing of the product."""
