// Command gatelodge is the server, and beside it the tools of whoever runs it.
//
// main.go holds the table of subcommands; each has a file of its own name:
//
//	serve          the server                    serve.go
//	demo           the whole picture, locally    demo.go
//	check-config   faults of a configuration     check_config.go
//	test           what is decided on a token    test.go
//	attributes     which attribute is the user   attributes.go
//	login          fetch a token                 login.go
//	token          API tokens                    token.go
//	snippet        the data plane's side         snippet.go
//	version        what this is                  version.go
//	completion     for the shell                 completion.go
//
// A command reads its input, asks a package of the project and prints; it
// decides nothing itself.
package main
