//go:build !linux

package doctor

import "errors"

// kernelSynchronised is not known here.
func kernelSynchronised() (bool, error) { return false, errors.ErrUnsupported }
