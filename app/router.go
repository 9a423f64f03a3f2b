package app

import (
	"log/slog"
	"net/netip"

	"freshet/auth"
	"freshet/handlers"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

// NewRouter returns a router with all routes of the handlers and the middleware in front of
// them. Origins are those of [middleware.CORS]; X-Forwarded-For counts only from the proxies.
func NewRouter(h *handlers.Handlers, keys *auth.Keys, origins []string, proxies []netip.Prefix, logger *slog.Logger) (*gin.Engine, error) {
	cors, err := middleware.CORS(origins)
	if err != nil {
		return nil, err
	}
	r := gin.New()
	r.RedirectTrailingSlash = false // a redirect would skip the middleware
	r.HandleMethodNotAllowed = true
	// Only this header: a proxy that appends to X-Forwarded-For passes on any other header as the client sent it.
	r.RemoteIPHeaders = []string{"X-Forwarded-For"}
	var trusted []string
	for _, p := range proxies {
		trusted = append(trusted, p.String())
	}
	if err := r.SetTrustedProxies(trusted); err != nil {
		return nil, err
	}
	r.Use(
		middleware.RequestID(),
		middleware.Log(logger, handlers.PublicParameters()),
		middleware.Recover(logger),
		middleware.Secure(),
		cors,
		middleware.Authenticate(keys, origins),
	)
	h.Register(r)
	r.NoRoute(h.NoRoute)
	r.NoMethod(h.NoMethod)
	return r, nil
}
