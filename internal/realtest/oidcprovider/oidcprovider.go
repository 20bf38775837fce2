// Package oidcprovider holds the files of the OpenID provider that tests run
// with Node.js: the certified npm package oidc-provider, set up by server.mjs.
package oidcprovider

import "embed"

// Files are the server and the packages it needs.
//
//go:embed server.mjs package.json package-lock.json
var Files embed.FS
