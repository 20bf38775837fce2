module github.com/gatelodge/gatelodge

go 1.26.0
