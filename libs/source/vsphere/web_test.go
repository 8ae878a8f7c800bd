package vsphere

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25"
)

// An answer that is not the range that was asked for is never taken for it.
func TestRangeIsChecked(t *testing.T) {
	for want, c := range map[string]struct {
		status int
		span   string
	}{
		"":                      {206, "bytes 100-199/1000"},
		"gives no ranges":       {200, ""},
		"lacks the right":       {403, ""},
		"no such file":          {404, ""},
		"answers 503":           {503, ""},
		`with "bytes 0-99/1000`: {206, "bytes 0-99/1000"},
		`with "bytes 100-150/`:  {206, "bytes 100-150/1000"},
		`with "bytes 100-199/5`: {206, "bytes 100-199/500"},
		`with ""`:               {206, ""},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Range"); got != "bytes=100-199" {
				t.Errorf("asked for %q", got)
			}
			w.Header().Set("Content-Range", c.span)
			w.WriteHeader(c.status)
		}))
		u, _ := url.Parse(srv.URL)
		s := &session{url: u, caller: &vim25.Client{}, http: srv.Client()}
		body, err := s.getRange(t.Context(), u, 100, 200, 1000)
		if err == nil {
			body.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
		srv.Close()
	}
}
