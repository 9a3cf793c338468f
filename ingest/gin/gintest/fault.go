package gintest

import "github.com/obskeep/obskeep/ingest/gin"

// Request is a kind of request.
type Request string

const (
	Upload   Request = "Upload"
	Search   Request = "Search"
	Download Request = "Download"
)

// Fault is what is to go wrong with a request.
type Fault uint8

const (
	None           Fault = iota
	CutBeforeBody        // the connection ends before the body is read
	CutInBody            // it ends when half of the body is read
	CutBeforeStore       // it ends when all of the body is read, and nothing is done
	Unauthorized         // 401, and nothing is done
	Forbidden            // 403, and nothing is done
	Unavailable          // 503, and nothing is done
	Garbage              // 200 with a page of some other server, and nothing is done
	SayError             // the reply Error, and nothing is done
	SayException         // the reply Exception, and nothing is done
	SayFatal             // the reply Fatal, and nothing is done
	SlowStore            // an upload is done after Config.Delay, whether the client still waits or not

	// With these the request is carried out.
	SayInformation // the reply Information, if it would be Success
	SayWarning     // the reply Warning, if it would be Success
	SlowReply      // the reply comes after Config.Delay
	LoseReply      // no reply comes, until the client gives up
	CutReply       // the connection ends instead of a reply
	CutInReply     // it ends in the reply
	BreakReply     // 500 instead of the reply
	GarbleReply    // 200 with a page of some other server instead of the reply
)

// Stores reports whether an upload with this fault is carried out, sooner or later.
func (f Fault) Stores() bool { return f == None || f >= SlowStore }

// Faults returns all of them but None.
func Faults() []Fault {
	var all []Fault
	for f := CutBeforeBody; f <= GarbleReply; f++ {
		all = append(all, f)
	}
	return all
}

func (f Fault) String() string {
	return [...]string{
		"None", "CutBeforeBody", "CutInBody", "CutBeforeStore", "Unauthorized", "Forbidden", "Unavailable", "Garbage",
		"SayError", "SayException", "SayFatal", "SlowStore", "SayInformation", "SayWarning", "SlowReply", "LoseReply",
		"CutReply", "CutInReply", "BreakReply", "GarbleReply",
	}[f]
}

// word is the reply that a fault wants instead of what would be done.
func (f Fault) word() gin.Word {
	switch f {
	case SayError:
		return gin.Error
	case SayException:
		return gin.Exception
	case SayFatal:
		return gin.Fatal
	}
	return ""
}

const garbage = "<html><head><title>Welcome</title></head><body><h1>Success</h1>Please log in to the network.</body></html>\n"
