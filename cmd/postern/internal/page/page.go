// Package page is a stub.
package page

import "net/http"

// Handler serves nothing.
func Handler() http.Handler { return http.NotFoundHandler() }
