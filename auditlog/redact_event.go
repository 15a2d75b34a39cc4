package auditlog

// personal are the patterns of what identifies a person but opens no door. The
// id of an actor, a subject or a role may well look like one; a secret it must
// never hold.
var personal = bit(PAN) | bit(IBAN) | bit(BSN) | bit(Email)

// event redacts all text of e before it is written. Free text is searched for
// every pattern. The typed identifiers of the schema are searched for secrets
// only, because they exist to name someone; Object.ID and Object.Part are such
// only if Safe declares them, as "object" and "object_part". Attributes are
// shown only if they are declared (see [RedactorConfig.Declared]).
func (r *Redactor) event(e *Event) {
	r.texts(e)
	e.Attrs = r.auditAttrs(e.Attrs)
}

// texts redacts all text of e but that of its attributes.
func (r *Redactor) texts(e *Event) {
	for _, text := range [...]*string{&e.Reason, &e.Purpose, &e.Code, &e.AuthProtocol, &e.Relation, &e.Consent,
		&e.Origin.AccessPoint, &e.Origin.UserAgent, &e.Object.Sensitivity, &e.Object.LifeCycle} {
		*text = r.clean(*text, 0)
	}
	for _, id := range [...]*string{&e.Actor.ID, &e.Actor.AltID, &e.Actor.OnBehalfOf, &e.Actor.Session, &e.Actor.Role, &e.Actor.Org,
		&e.Subject.ID, &e.Object.Type, &e.Origin.Host, &e.Origin.Service, &e.RequestID, &e.TraceParent} {
		*id = r.clean(*id, personal)
	}
	for _, object := range [...]struct {
		text *string
		name string
	}{{&e.Object.ID, "object"}, {&e.Object.Part, "object_part"}} {
		var but patternSet
		if r.isSafe(object.name) {
			but = personal
		}
		*object.text = r.clean(*object.text, but)
	}
}
