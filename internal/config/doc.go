// Package config reads the configuration file.
//
// Load takes the bytes through three steps, and reports all that is wrong at
// once, each fault with its line, its column and its key:
//
//	decode.go    YAML → Config, strictly: what is not known is a fault
//	secrets.go   {env: NAME}, {file: path} → authz.Secret
//	validate.go  what the parts say to each other: names, patterns, addresses
//
// policy.go turns a Config into the parts that a server is assembled from,
// watch.go notices a changed file, schema.go describes the file to editors.
package config
