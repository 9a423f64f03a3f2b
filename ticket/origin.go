package ticket

// Origin is what a request says about the page that sent it.
type Origin struct {
	Header string // the header Origin, which browsers send with cross-origin requests
	Site   string // the header Sec-Fetch-Site; older browsers do not send it
	Host   string // the host that the request was sent to
}

// matches reports whether the page has the ticket's origin. Browsers send no Origin with a GET to the page's own origin: there
// Sec-Fetch-Site must say so. Without both headers, the ticket's origin must be this host.
func (o Origin) matches(origin string) bool {
	switch {
	case o.Header != "":
		return o.Header == origin || o.Header == "null" && o.Site == "same-origin"
	case o.Site != "":
		return o.Site == "same-origin"
	}
	return origin == "http://"+o.Host || origin == "https://"+o.Host
}
