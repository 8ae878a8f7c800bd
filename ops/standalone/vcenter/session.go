package vcenter

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions are those that clients use.
type sessions struct {
	mu      sync.Mutex
	last    map[string]time.Time // key: when it was used last
	tickets map[string]ticket
}

// ticket opens one URL once.
type ticket struct {
	path, method string
	until        time.Time
}

const ticketLife = 2 * time.Minute

// callMost bounds one SOAP request, as real ones do.
const callMost = 32 << 20

// routes are the doors that the simulator has none of, or leaves open.
func (v *VCenter) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /sdk", v.call)
	mux.HandleFunc("POST /sdk/vimService", v.call)
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		mux.HandleFunc(method+" /folder/", v.folder)
	}
}

// call ends a session that was idle for too long, hands the call to the
// simulator, and loses its answer if a fault wants that.
func (v *VCenter) call(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, callMost))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	v.awake(r)
	lost := v.ghost(body)
	if lost == nil {
		v.model.Service.ServeSDK(w, r)
		return
	}
	v.model.Service.ServeSDK(&silent{header: http.Header{}}, r)
	panic(http.ErrAbortHandler)
}

// silent takes an answer that nobody gets.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(int)             {}

// ghost is the fault that loses the answer to this call. The call is parsed only
// if it may be one.
func (v *VCenter) ghost(body []byte) *SnapshotGhost {
	if !bytes.Contains(body, []byte("<CreateSnapshot")) {
		return nil
	}
	q, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil || !strings.HasPrefix(q.Name, "CreateSnapshot") {
		return nil
	}
	f, ok := strike(v, v.byRef(q.This), func(f SnapshotGhost) bool { return f.Call })
	if !ok {
		return nil
	}
	return &f
}

// awake notes that a session is used, and ends it if that comes too late.
func (v *VCenter) awake(r *http.Request) {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return
	}
	now := time.Now()
	v.sessions.mu.Lock()
	last, ok := v.sessions.last[cookie.Value]
	late := ok && now.Sub(last) > v.SessionTimeout
	if v.sessions.last[cookie.Value] = now; late {
		delete(v.sessions.last, cookie.Value)
	}
	v.sessions.mu.Unlock()
	if late {
		v.terminate(cookie.Value)
	}
}

// terminate ends a session and what it holds.
func (v *VCenter) terminate(key string) {
	c := v.ctx()
	c.Session = &simulator.Session{UserSession: types.UserSession{Key: "operator"}, Registry: c.Session.Registry, Map: c.Map}
	v.model.Map().SessionManager().TerminateSession(c, &types.TerminateSession{SessionId: []string{key}})
	v.endLeases(key)
}

// ExpireSessions ends every session, as a restart of the vCenter's services does.
func (v *VCenter) ExpireSessions() {
	v.sessions.mu.Lock()
	keys := make([]string, 0, len(v.sessions.last))
	for k := range v.sessions.last {
		keys = append(keys, k)
	}
	v.sessions.last = map[string]time.Time{}
	v.sessions.mu.Unlock()
	for _, k := range keys {
		v.terminate(k)
	}
}

// expire is the SessionExpires fault, at a call.
func (v *VCenter) expire(c *simulator.Context, q *simulator.Method) types.BaseMethodFault {
	if _, ok := strike(v, v.machineOf(c, q.This), func(f SessionExpires) bool { return f.Method == "" || f.Method == q.Name }); !ok {
		return nil
	}
	v.ExpireSessions()
	v.terminate(c.Session.Key)
	this := q.This
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &this, PrivilegeId: "System.View"}}
}

// entitled reports whether a request for a datastore's file bears a session or a
// ticket for it.
func (v *VCenter) entitled(r *http.Request) bool {
	if cookie, err := r.Cookie(soap.SessionCookieName); err == nil {
		v.awake(r)
		c := v.ctx()
		res := v.model.Map().SessionManager().SessionIsActive(c, &types.SessionIsActive{SessionID: cookie.Value, UserName: v.User})
		if body := res.(*methods.SessionIsActiveBody); body.Res != nil && body.Res.Returnval {
			return true
		}
	}
	cookie, err := r.Cookie("vmware_cgi_ticket")
	if err != nil {
		return false
	}
	v.sessions.mu.Lock()
	defer v.sessions.mu.Unlock()
	t, ok := v.sessions.tickets[cookie.Value]
	delete(v.sessions.tickets, cookie.Value)
	return ok && time.Now().Before(t.until) && strings.HasSuffix(t.path, r.URL.Path) && strings.EqualFold(t.method, "http"+r.Method)
}

// AcquireGenericServiceTicket gives a ticket for one file at a host.
func (x *sessionX) AcquireGenericServiceTicket(c *simulator.Context, req *types.AcquireGenericServiceTicket) soap.HasFault {
	spec, ok := req.Spec.(*types.SessionManagerHttpServiceRequestSpec)
	if !ok {
		return &methods.AcquireGenericServiceTicketBody{Fault_: simulator.Fault("", invalid("spec"))}
	}
	path, _, _ := strings.Cut(spec.Url, "?")
	t := ticket{path: path, method: or(spec.Method, "httpGet"), until: time.Now().Add(ticketLife)}
	id := uuid.NewString()
	x.v.sessions.mu.Lock()
	x.v.sessions.tickets[id] = t
	x.v.sessions.mu.Unlock()
	return &methods.AcquireGenericServiceTicketBody{Res: &types.AcquireGenericServiceTicketResponse{
		Returnval: types.SessionManagerGenericServiceTicket{Id: id, HostName: x.v.sideURL.Hostname(), SslThumbprint: sha1Print(x.v.ca.host)}}}
}

// Logout ends the session's leases with it.
func (x *sessionX) Logout(c *simulator.Context, req *types.Logout) soap.HasFault {
	key := c.Session.Key
	res := x.SessionManager.Logout(c, req)
	x.v.endLeases(key)
	return res
}
