"""The development stack: servers and processes on free loopback ports, and the commands of `./dev`.

`postgres`, `valkey`, `process` and `stack` start servers and the deployment's processes; tests and benchmarks
use them too. The other modules are commands and their parts. devstack may import the apps and
`fake_sendgrid`, but no benchmark. The apps, `workers`, `project` and `example_app` never import devstack.
"""
