package config

import (
	"fmt"
	"slices"
	"strings"
)

func validateAdmin(c *Config, d *decoder) {
	if t := c.Admin.Token; !t.IsZero() && len(t.Reveal()) < 16 {
		d.faultAt("admin.token", "is shorter than 16 bytes; make one with: openssl rand -hex 32")
	}
	known := []string{}
	for _, p := range c.Providers {
		known = append(known, p.Name)
	}
	for i, name := range c.Admin.Providers {
		if !slices.Contains(known, name) && !d.unread("providers") {
			d.faultAt(fmt.Sprintf("admin.providers[%d]", i), "there is no provider %q; there are: %s", name, strings.Join(known, ", "))
		}
	}
	people := len(c.Admin.Admins) + len(c.Admin.Auditors)
	switch {
	case len(c.Admin.Providers) > 0:
	case len(known) == 1:
		c.Admin.Providers = known
	case people > 0:
		d.warn("admin.providers", "there are several providers and none is named here, so nobody can log in; name those whose users are who they are called")
	}
	for i, name := range c.Admin.Auditors {
		if slices.Contains(c.Admin.Admins, name) {
			d.faultAt(fmt.Sprintf("admin.auditors[%d]", i), "%q stands among admins too; an auditor changes nothing", name)
		}
	}
}
