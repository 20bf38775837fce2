package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/gatelodge/gatelodge/authz"
)

// secret takes {env: NAME}, {file: path}, or, with a warning, the text itself.
// A secret that is not there is a fault: going on without one would leave
// something open or broken.
func (d *decoder) secret(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		if n.Value == "" {
			d.fault(at(n), key, "is empty; give {env: NAME} or {file: path}")
			return
		}
		d.warn(key, "the secret stands in the file in clear; {env: NAME} or {file: path} keep it out")
		v.Set(reflect.ValueOf(authz.NewSecret(n.Value)))
		return
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[1].Kind != yaml.ScalarNode || n.Content[1].Value == "" {
		d.fault(at(n), key, "is to be {env: NAME} or {file: path}")
		return
	}
	source, name := n.Content[0].Value, n.Content[1].Value
	var text string
	switch source {
	case "env":
		value, ok := d.env(name)
		if !ok || value == "" {
			d.fault(at(n), key, "the environment variable %sis not set or is empty", variable(name))
			return
		}
		text = value
	case "file":
		b, err := os.ReadFile(d.input(name))
		if err != nil {
			var cause *os.PathError
			if errors.As(err, &cause) {
				err = cause.Err // without the path
			}
			d.fault(at(n), key, "the secret cannot be read from the file that is named here: %v", err)
			return
		}
		if text = strings.TrimRight(string(b), "\r\n"); text == "" {
			d.fault(at(n), key, "the file that is named here is empty")
			return
		}
	default:
		d.fault(at(n.Content[0]), key, "is neither {env: NAME} nor {file: path}")
		return
	}
	v.Set(reflect.ValueOf(authz.NewSecret(text)))
}

// names are like the usual ones of environment variables, and too short for
// secrets.
var names = regexp.MustCompile(`^[A-Z][A-Z0-9]{0,15}(?:_[A-Z0-9]{1,15})*$`)

// variable is the name of an environment variable as it is shown: a message
// must not tell the secret itself, should somebody have written that instead.
func variable(name string) string {
	if !names.MatchString(name) {
		return "that is named here "
	}
	return name + " "
}

// path makes a path of the file absolute: relative ones start from its folder.
func (d *decoder) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

// input is path for a file that is read: a change of it is one of the configuration.
func (d *decoder) input(p string) string {
	p = d.path(p)
	d.inputs = append(d.inputs, input{p, sumOf(p)})
	return p
}
