package gintest

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
)

// maxBody is the longest request that is read, in bytes: a day of seconds has 6.1 million.
const maxBody = 16 << 20

// ServeHTTP answers a request to the service.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if path.Base(r.URL.Path) != "Cache" {
		http.NotFound(w, r)
		return
	}
	account, stale := s.authenticate(r)
	if account == nil {
		s.challenge(w, stale)
		return
	}
	h := &handler{s: s, w: w, r: r, account: account}
	switch {
	case r.Method == http.MethodPost:
		h.run(Upload, h.upload)
	case r.Method != http.MethodGet:
		http.Error(w, "want POST to upload and GET to ask", http.StatusMethodNotAllowed)
	case r.URL.Query().Get("Request") == string(Search):
		h.run(Search, h.search)
	case r.URL.Query().Get("Request") == string(Download):
		h.run(Download, h.download)
	default:
		h.answer(gin.Reply{Word: gin.Error, Text: "Request is neither Upload, Search nor Download"}.String())
	}
}

// handler answers one request.
type handler struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	account *Account
	fault   Fault
	isHTML  bool
}

// errForbidden says that the account may not do this.
var errForbidden = errors.New("the account may not do this")

// run answers a request, with the fault that it is to have.
func (h *handler) run(kind Request, do func() (string, error)) {
	h.fault = h.s.config.Fault(kind)
	switch h.fault {
	case CutBeforeBody:
		panic(http.ErrAbortHandler)
	case CutInBody:
		io.CopyN(io.Discard, h.r.Body, h.r.ContentLength/2)
		panic(http.ErrAbortHandler)
	case CutBeforeStore:
		io.Copy(io.Discard, h.r.Body)
		panic(http.ErrAbortHandler)
	case Unauthorized:
		h.s.challenge(h.w, false)
		return
	case Forbidden, Unavailable:
		status := map[Fault]int{Forbidden: http.StatusForbidden, Unavailable: http.StatusServiceUnavailable}[h.fault]
		http.Error(h.w, "on demand", status)
		return
	case Garbage:
		io.WriteString(h.w, garbage)
		return
	case SayError, SayException, SayFatal:
		h.answer(gin.Reply{Word: h.fault.word(), Text: "on demand"}.String())
		return
	}
	text, err := do()
	if broken := h.s.shelf.err(); broken != nil {
		err = broken // what was found or not may be otherwise once the folder is opened again
	}
	switch {
	case errors.Is(err, errForbidden):
		http.Error(h.w, err.Error(), http.StatusForbidden)
	case err != nil:
		h.s.config.Logger.Warn("request not answered", "request", string(kind), "user", h.account.User, "err", err)
		http.Error(h.w, "the service cannot tell whether this was done", http.StatusInternalServerError)
	default:
		h.answer(text)
	}
}

// answer sends an answer, with the fault that it is to have.
func (h *handler) answer(text string) {
	kind := "text/plain; charset=us-ascii"
	if h.isHTML {
		kind = "text/html; charset=us-ascii"
		text = "<html><body><pre>\n" + html.EscapeString(text) + "</pre></body></html>\n"
	}
	h.w.Header().Set("Content-Type", kind)
	h.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	switch h.fault {
	case SlowReply:
		h.s.wait(h.s.config.Delay)
	case LoseReply:
		<-h.r.Context().Done()
		panic(http.ErrAbortHandler)
	case CutReply:
		panic(http.ErrAbortHandler)
	case CutInReply:
		io.WriteString(h.w, text[:len(text)/2])
		http.NewResponseController(h.w).Flush()
		panic(http.ErrAbortHandler)
	case BreakReply:
		http.Error(h.w, "on demand", http.StatusInternalServerError)
		return
	case GarbleReply:
		h.w.Header().Del("Content-Length")
		text = garbage
	}
	io.WriteString(h.w, text) // whether it arrives is for the client to find out
}

// wait waits as long, unless the server is closed.
func (s *Server) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.closed:
	}
}

// format reads the form of the answer that is wanted.
func (h *handler) format(value string) error {
	switch value {
	case "", "plain":
	case "html":
		h.isHTML = true
	default:
		return fmt.Errorf("the Format is %q; want plain or html", value)
	}
	return nil
}

func (h *handler) upload() (string, error) {
	refuse := func(err error) (string, error) {
		return gin.Reply{Word: gin.Error, Text: err.Error()}.String(), nil
	}
	if err := h.r.ParseMultipartForm(maxBody); err != nil { // all of it in memory
		return refuse(fmt.Errorf("the form cannot be read: %w", err))
	}
	if err := h.format(h.r.PostFormValue("Format")); err != nil {
		return refuse(err)
	}
	files := h.r.MultipartForm.File["File"]
	if h.r.PostFormValue("Request") != string(Upload) || len(files) != 1 {
		return refuse(errors.New("want a form with Request=Upload and one File"))
	}
	part, err := files[0].Open()
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(part)
	if err = errors.Join(err, part.Close()); err != nil {
		return "", err
	}
	if h.fault == SlowStore {
		h.s.wait(h.s.config.Delay)
	}
	reply, err := h.s.accept(h.account, files[0].Filename, data)
	if reply.Word == gin.Success && h.fault == SayInformation {
		reply = gin.Loaded(gin.Information, reply.ID, "on demand")
	}
	if reply.Word == gin.Success && h.fault == SayWarning {
		reply = gin.Loaded(gin.Warning, reply.ID, "Unable to remove old cache element")
	}
	return reply.String(), err
}

func (h *handler) search() (string, error) {
	v := h.r.URL.Query()
	q, err := gin.ParseQuery(v)
	if err = errors.Join(h.format(v.Get("Format")), err); err != nil {
		return gin.Reply{Word: gin.Error, Text: err.Error()}.String(), nil
	}
	var b strings.Builder
	found := 0
	for _, f := range h.s.Files() {
		if q.Matches(f.Entry) && h.account.may(f.Station) {
			b.WriteString(f.Entry.String() + "\n")
			if found++; found == q.MaxResults {
				break
			}
		}
	}
	return b.String(), nil
}

func (h *handler) download() (string, error) {
	v := h.r.URL.Query()
	id, err := strconv.ParseInt(v.Get("ID"), 10, 64)
	if err = errors.Join(h.format(v.Get("Format")), err); err != nil {
		return gin.Reply{Word: gin.Error, Text: err.Error()}.String(), nil
	}
	f, ok := h.s.shelf.file(id)
	if !ok || !h.account.may(f.Station) {
		return gin.Reply{Word: gin.Error, Text: fmt.Sprintf("There is no data file with id = %d", id)}.String(), nil
	}
	data, err := h.s.Data(id)
	return string(data), err
}

// accept stores a file, or says why not. An error means that it is not known.
func (s *Server) accept(a *Account, name string, data []byte) (gin.Reply, error) {
	refused := func(format string, args ...any) (gin.Reply, error) {
		return gin.Reply{Word: gin.Error, Text: fmt.Sprintf(format, args...)}, nil
	}
	e, err := inspect(name, data)
	if err != nil {
		return refused("%v", err)
	}
	if !a.may(e.Station) {
		return gin.Reply{}, fmt.Errorf("%w: upload files of %s", errForbidden, e.Station)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := newFile(e, name, a.User, data, s.config.Now())
	if id := s.shelf.same(f, s.config.Repeats); id > 0 {
		s.identical++
		return refused("The file has been loaded before, with id %d", id)
	}
	if n := s.shelf.uploads(f.Station, f.Uploaded); n >= s.config.Daily {
		return refused("%s has made its %d uploads of the day", f.Station, n)
	}
	id, err := s.shelf.add(f, data)
	if e, ok := errors.AsType[*notStoredError](err); ok {
		s.config.Logger.Warn("file not stored", "file", name, "user", a.User, "err", e)
		return gin.Reply{Word: gin.Exception, Text: "the file could not be stored"}, nil
	}
	if err != nil {
		return gin.Reply{}, err
	}
	s.config.Logger.Info("file stored", "file", name, "user", a.User, "id", id, "bytes", len(data))
	return gin.Loaded(gin.Success, id, ""), nil
}
