package main

import (
	"context"
	"flag"
	"fmt"

	"postern/cmd/postern/internal/doctor"
)

// exitNotRun is the exit code of `postern doctor` if it cannot run: 0 to 2 are the levels of
// what it finds.
const exitNotRun = 3

const doctorHelp = `check whether everything is set up right, with the remedy for what is not; exit 0 to 3:

Checks settings, certificates, ports, file descriptors, state directory, clock, backends, and
what monitors postern. It prints a line for each check: OK, WARNING or FAILURE.

With -user, it also logs in through every listener of the running postern, and measures at each
backend whether Dovecot delays logins after a failed one. For that it makes two logins there that
fail, with an account that does not exist and an address from 198.51.100.0/24 in the PROXY header.

The exit code is 0 if all is OK, 1 after a warning, 2 after a failure, and 3 if it could not run.`

// prepareDoctor declares the flags of `postern doctor`.
func prepareDoctor(flags *flag.FlagSet) func(context.Context, process) error {
	user := flags.String("user", "", "log in as the account `name`")
	file := flags.String("password-file", "", "`file` with its password in the first line; only its owner should be able to read it")
	asJSON := flags.Bool("json", false, "print JSON")
	return func(ctx context.Context, p process) error {
		switch {
		case *user != "" && *file == "":
			return wrongUsage("-user: got %q without -password-file, want both", *user)
		case *user == "" && *file != "":
			return wrongUsage("-password-file: got %q without -user, want both", *file)
		}
		report, err := doctor.Run(ctx, doctor.Options{Environ: p.environ, User: *user, PasswordFile: *file})
		if err == nil && *asJSON {
			err = report.WriteJSON(p.stdout)
		} else if err == nil {
			err = report.Write(p.stdout)
		}
		if err != nil {
			fmt.Fprintf(p.stderr, "postern doctor: %v\n", err)
			return exitCode(exitNotRun)
		}
		return exitCode(report.Worst())
	}
}
