package login

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
)

// OpenBrowser shows a URL in the person's browser: $BROWSER's, else the
// system's. An error means that there is none to be seen from here.
func OpenBrowser(url string) error {
	name, args, err := browserCommand(runtime.GOOS, os.Getenv)
	if err != nil {
		return err
	}
	cmd := exec.Command(name, append(args, url)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	// It may live as long as the browser does; nobody waits for its status.
	go func() { _ = cmd.Wait() }()
	return nil
}

var errNoBrowser = errors.New("there is no display to show a browser on")

func browserCommand(system string, getenv func(string) string) (name string, args []string, err error) {
	if b := getenv("BROWSER"); b != "" {
		return b, nil, nil
	}
	switch system {
	case "darwin":
		return "open", nil, nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}, nil
	}
	if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return "", nil, errNoBrowser
	}
	return "xdg-open", nil, nil
}
