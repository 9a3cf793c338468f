package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html.tmpl
var htmlText string

var htmlTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"upper": func(o Outcome) string { return strings.ToUpper(o.String()) },
	"style": outcomeStyle,
	"text":  func(column int) bool { return column < 2 },
}).Parse(htmlText))

// outcomeStyle colours an outcome on a light page. It stands in the element,
// because some mail clients drop style sheets; the dark colours are in the
// style sheet, by the name of the outcome. Contrast is at least 4.5 to 1
// (WCAG 2.2, 1.4.3), and the word says it too.
func outcomeStyle(o Outcome) template.CSS {
	return [...]template.CSS{
		OK:      "background-color:#dafbe1;color:#116329",
		Warning: "background-color:#fff1b8;color:#6b4400",
		Missed:  "background-color:#ffe2cc;color:#8a3400",
		Failed:  "background-color:#ffe0de;color:#a00e20",
	}[o]
}

// WriteHTML writes the report as one HTML page in UTF-8, for a mail client or
// a browser: no script, no image, nothing loaded from elsewhere, in light or
// dark as the reader's system is set. The only error is that of w, to which
// it writes once.
func (r *Report) WriteHTML(w io.Writer) error {
	var b bytes.Buffer
	err := htmlTemplate.Execute(&b, r.view())
	if err == nil {
		_, err = w.Write(b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("report: write HTML: %w", err)
	}
	return nil
}
