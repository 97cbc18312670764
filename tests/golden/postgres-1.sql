--
-- PostgreSQL database dump
--

\restrict IXhSZn62fdX2pI8u8bUJXUr7AsE0VJ94B7oHQdW8fNZqL2f1Uep4hbdW00dHqYm

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: golden; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA golden;


--
-- Name: zerog_enter_terms(); Type: FUNCTION; Schema: golden; Owner: -
--

CREATE FUNCTION golden.zerog_enter_terms() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM "golden".zerog_terms WHERE document = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO "golden".zerog_terms (name, term, created, key, document)
        SELECT pair->>0, pair->>1, NEW.created, NEW.key, NEW.id
        FROM unnest(ARRAY[NEW.attrs, NEW.error]) AS list, json_array_elements(nullif(list, '')::json) AS pair
        WHERE NEW.created IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;


--
-- Name: zerog_ahead; Type: SEQUENCE; Schema: golden; Owner: -
--

CREATE SEQUENCE golden.zerog_ahead
    START WITH -2
    INCREMENT BY -1
    MINVALUE -9000000000000000000
    NO MAXVALUE
    CACHE 1;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: zerog_documents; Type: TABLE; Schema: golden; Owner: -
--

CREATE TABLE golden.zerog_documents (
    id bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    cas bigint NOT NULL,
    body text NOT NULL,
    state text NOT NULL,
    lists text NOT NULL,
    status text COLLATE pg_catalog."C",
    job_type text COLLATE pg_catalog."C",
    queue text COLLATE pg_catalog."C",
    due text COLLATE pg_catalog."C",
    created text COLLATE pg_catalog."C",
    finished text COLLATE pg_catalog."C",
    kind text COLLATE pg_catalog."C",
    ready text COLLATE pg_catalog."C",
    epoch bigint,
    attempts bigint,
    sound boolean DEFAULT false NOT NULL,
    attrs text,
    error text,
    CONSTRAINT zerog_documents_attempts_check CHECK (((attempts >= 0) AND (attempts <= '9007199254740992'::bigint))),
    CONSTRAINT zerog_documents_cas_check CHECK (((cas >= 1) AND (cas <= '4611686018427387904'::bigint))),
    CONSTRAINT zerog_documents_epoch_check CHECK (((epoch >= 0) AND (epoch <= '9007199254740992'::bigint)))
)
WITH (autovacuum_vacuum_scale_factor='0.05');


--
-- Name: zerog_documents_id_seq; Type: SEQUENCE; Schema: golden; Owner: -
--

ALTER TABLE golden.zerog_documents ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME golden.zerog_documents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: zerog_entries; Type: SEQUENCE; Schema: golden; Owner: -
--

CREATE SEQUENCE golden.zerog_entries
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: zerog_history; Type: TABLE; Schema: golden; Owner: -
--

CREATE TABLE golden.zerog_history (
    document bigint NOT NULL,
    field text NOT NULL COLLATE pg_catalog."C",
    n bigint NOT NULL,
    entry text NOT NULL
);


--
-- Name: zerog_queue; Type: TABLE; Schema: golden; Owner: -
--

CREATE TABLE golden.zerog_queue (
    id bigint DEFAULT nextval('golden.zerog_entries'::regclass) NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    uuid uuid NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    due double precision DEFAULT 0 NOT NULL,
    ttr double precision DEFAULT 60 NOT NULL,
    token bigint,
    CONSTRAINT zerog_queue_due_check CHECK (((due >= (0)::double precision) AND (due < ('100000000000'::numeric)::double precision))),
    CONSTRAINT zerog_queue_queue_check CHECK ((queue <> ''::text)),
    CONSTRAINT zerog_queue_ttr_check CHECK (((ttr > (0)::double precision) AND (ttr < ('10000000000'::numeric)::double precision)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');


--
-- Name: zerog_terms; Type: TABLE; Schema: golden; Owner: -
--

CREATE TABLE golden.zerog_terms (
    name text NOT NULL COLLATE pg_catalog."C",
    term text NOT NULL COLLATE pg_catalog."C",
    created text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    document bigint NOT NULL
);


--
-- Name: zerog_version; Type: TABLE; Schema: golden; Owner: -
--

CREATE TABLE golden.zerog_version (
    version integer NOT NULL
);


--
-- Data for Name: zerog_documents; Type: TABLE DATA; Schema: golden; Owner: -
--

INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (3, 'zerog_job_01a22f2e-3c45-7577-84c7-1b55e122b4d7', 17266900082059829, '{"documentType":"zerog_job","uuid":"01a22f2e-3c45-7577-84c7-1b55e122b4d7","logId":"e122b4d7","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"cancelled","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:08.965283+00:00","updatedAt":"2026-12-01T01:18:09.001462+00:00","queueName":"default","queueState":"none","queuedAt":"2026-12-01T01:18:08.974816+00:00","notBefore":null,"due":null,"status":"cancelled","epoch":0,"seq":0,"owner":null,"running":false,"attempts":0,"errorCount":0,"crashes":0,"lost":0,"continues":0,"startedAt":null,"finishedAt":"2026-12-01T01:18:09.001462+00:00","cancelRequested":"2026-12-01T01:18:09.001462+00:00","completeness":0.0,"tickcount":0.0,"resultCode":410,"queueJobId":3}', '{"events":[1,0],"errors":[1,0],"warnings":[1,0]}', 'cancelled', 'parcel', 'default', NULL, '2026-12-01T01:18:08.965283+00:00', '2026-12-01T01:18:09.001462+00:00', NULL, NULL, 0, 0, true, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (6, 'zerog_schemas', 1287287632101230, '{"documentType":"zerog_schemas","types":{"550a49ead28c8f62":"parcel"}}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (9, 'zerog_rates_retired', 55878355929526698, '{"documentType":"zerog_rates_retired","at":"2026-12-01T01:18:09.498230+00:00","base":{"types":{},"leaseLosses":0,"collisions":0,"repairs":0},"lives":{"36743071bcc7306f":{"leaseLosses":0,"collisions":0,"repairs":0,"types":{"parcel":{"requeued":[1,83,200,0,1,0,0,0,0,0,0,0,0,0,0],"failed":[1,21,301,0,1,0,0,0,0,0,0,0,0,0,0],"succeeded":[1,11,72,1,0,0,0,0,0,0,0,0,0,0,0]}}}}}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (4, 'zerog_workers', 65830283943145204, '{"documentType":"zerog_workers","workers":{"alice-29699-59c7ac":{"lease":30.0}}}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (7, 'zerog_schema_550a49ead28c8f62', 70936163361603168, '{"documentType":"zerog_schema","schemaOf":"parcel","schemas":[{"hash":"79b04f43f9604d6e","builds":["b1"],"firstAt":"2026-12-01T01:18:09.185296+00:00","schema":"{\"attributes\":[],\"frozen\":1,\"jobType\":\"parcel\",\"migrations\":[],\"params\":{\"additionalProperties\":false,\"properties\":{\"sender\":{\"type\":\"string\",\"x-field\":{\"class\":\"String\",\"required\":true}},\"weight\":{\"default\":1.5,\"type\":\"number\",\"x-field\":{\"class\":\"Float\",\"load_default\":1.5}}},\"required\":[\"sender\"],\"type\":\"object\",\"x-schema\":{\"unknown\":\"raise\"}},\"schemaVersion\":1.0,\"state\":{\"additionalProperties\":false,\"properties\":{\"leg\":{\"default\":0,\"type\":\"integer\",\"x-field\":{\"class\":\"Integer\",\"load_default\":0}},\"stops\":{\"default\":[],\"items\":{\"type\":\"string\",\"x-field\":{\"class\":\"String\"}},\"type\":\"array\",\"x-field\":{\"class\":\"List\",\"load_default\":[]}}},\"type\":\"object\",\"x-schema\":{\"unknown\":\"raise\"}},\"summary\":null,\"title\":null}"}]}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (10, 'zerog_job_01a22f2e-3e7c-7d31-8095-8b0c2a00fb9a', 14828433269121894, '{"documentType":"zerog_job","uuid":"01a22f2e-3e7c-7d31-8095-8b0c2a00fb9a","logId":"2a00fb9a","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"hangs","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:09.532746+00:00","updatedAt":"2026-12-01T01:18:10.736718+00:00","queueName":"default","queueState":"none","queuedAt":"2026-12-01T01:18:09.542325+00:00","notBefore":null,"due":null,"status":"running","epoch":1,"seq":2,"owner":{"worker":"alice-29699-59c7ac","nonce":"855005afe69b1-1","lease":30.0,"build":"b1"},"running":true,"attempts":1,"errorCount":0,"crashes":0,"lost":0,"continues":0,"startedAt":"2026-12-01T01:18:10.552583+00:00","finishedAt":null,"cancelRequested":null,"completeness":0.5,"tickcount":0.0,"resultCode":-1,"queueJobId":5,"run":"855005afe69b1-1"}', '{"events":[1,1],"errors":[1,0],"warnings":[1,0]}', 'running', 'parcel', 'default', NULL, '2026-12-01T01:18:09.532746+00:00', NULL, NULL, NULL, 1, 1, true, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (15, 'zerog_job_01a22f2e-4350-757c-b7df-d65fa86a4cfb', 28802139030385599, '{"documentType":"zerog_job","uuid":"01a22f2e-4350-757c-b7df-d65fa86a4cfb","logId":"a86a4cfb","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"waits","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:10.768154+00:00","updatedAt":"2026-12-01T01:18:10.777977+00:00","queueName":"default","queueState":"queued","queuedAt":"2026-12-01T01:18:10.777977+00:00","notBefore":null,"due":null,"status":"queued","epoch":0,"seq":0,"owner":null,"running":false,"attempts":0,"errorCount":0,"crashes":0,"lost":0,"continues":0,"startedAt":null,"finishedAt":null,"cancelRequested":null,"completeness":0.0,"tickcount":0.0,"resultCode":-1,"queueJobId":6}', '{"events":[1,0],"errors":[1,0],"warnings":[1,0]}', 'queued', 'parcel', 'default', NULL, '2026-12-01T01:18:10.768154+00:00', NULL, '["parcel",1.0]', '2026-12-01T01:18:10.777977+00:00', 0, 0, true, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (8, 'zerog_sweeper', 39206263521924387, '{"documentType":"zerog_sweeper","worker":"alice-29699-59c7ac","beat":1,"sweptAt":"2026-12-01T01:18:09.244833+00:00"}', '{"sweptAt":"2026-12-01T01:18:10.673037+00:00"}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (2, 'zerog_job_01a22f2e-3c40-707b-aa3d-ed33d7d993c3', 71813589056100956, '{"documentType":"zerog_job","uuid":"01a22f2e-3c40-707b-aa3d-ed33d7d993c3","logId":"d7d993c3","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"fails","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:08.959951+00:00","updatedAt":"2026-12-01T01:18:09.339527+00:00","queueName":"default","queueState":"none","queuedAt":"2026-12-01T01:18:08.969525+00:00","notBefore":null,"due":null,"status":"failed","epoch":1,"seq":3,"owner":null,"running":false,"attempts":1,"errorCount":1,"crashes":0,"lost":0,"continues":0,"startedAt":"2026-12-01T01:18:09.270714+00:00","finishedAt":"2026-12-01T01:18:09.339527+00:00","cancelRequested":null,"completeness":0.5,"tickcount":0.0,"resultCode":500,"queueJobId":2,"run":"47d8a303b27e1-1","lastError":{"timestamp":"2026-12-01T01:18:09.329121+00:00","errorCode":500,"type":"ValueError","fingerprint":"a63c657b0ea988ec","msg":"ValueError: no address"}}', '{"events":[1,1],"errors":[1,1],"warnings":[1,0]}', 'failed', 'parcel', 'default', NULL, '2026-12-01T01:18:08.959951+00:00', '2026-12-01T01:18:09.339527+00:00', NULL, NULL, 1, 1, true, '', '[["","ValueError"],["","a63c657b0ea988ec"]]');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (12, 'zerog_rates_minute_2026-12-01T01:17', 24068221012953527, '{"documentType":"zerog_rates_minute","before":{"types":{},"leaseLosses":0,"collisions":0,"repairs":0},"totals":{"leaseLosses":0,"collisions":0,"repairs":0,"types":{"parcel":{"requeued":[1,83,200,0,1,0,0,0,0,0,0,0,0,0,0],"failed":[1,21,301,0,1,0,0,0,0,0,0,0,0,0,0],"succeeded":[1,11,72,1,0,0,0,0,0,0,0,0,0,0,0]}}}}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (1, 'zerog_job_01a22f2e-3c1c-7aed-978b-2509ea48feb9', 27033804875804323, '{"documentType":"zerog_job","uuid":"01a22f2e-3c1c-7aed-978b-2509ea48feb9","logId":"ea48feb9","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"ends","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:08.924583+00:00","updatedAt":"2026-12-01T01:18:09.369823+00:00","queueName":"default","queueState":"none","queuedAt":"2026-12-01T01:18:09.270504+00:00","notBefore":null,"due":null,"status":"succeeded","epoch":2,"seq":3,"owner":null,"running":false,"attempts":2,"errorCount":0,"crashes":0,"lost":0,"continues":1,"startedAt":"2026-12-01T01:18:09.352659+00:00","finishedAt":"2026-12-01T01:18:09.369823+00:00","cancelRequested":null,"completeness":1.0,"tickcount":0.0,"resultCode":200,"queueJobId":4,"run":"75fb71f4b66a3-1","leg":1,"stops":["Köln"],"output":{"sender":"ends","leg":1}}', '{"events":[1,2],"errors":[1,0],"warnings":[1,1]}', 'succeeded', 'parcel', 'default', NULL, '2026-12-01T01:18:08.924583+00:00', '2026-12-01T01:18:09.369823+00:00', NULL, NULL, 2, 2, true, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (11, 'zerog_worker_alice-29699-59c7ac', 59788687723338594, '{"documentType":"zerog_worker","worker":"alice-29699-59c7ac","host":"host","pid":29699,"process":{"boot":"1cd7baf6-cfbc-43e3-aa32-3598f9006264","namespace":"pid:[4026531836]","pid":29699,"started":222382},"build":"b1","executor":"thread","queues":["default"],"config":{"concurrency":1,"executor":"thread","lease":30.0,"grace":25.0,"queues":["default"],"name":"alice","build_id":"b1","max_jobs":null,"max_jobs_per_child":100,"max_memory":null,"connect_retries":null,"signals":["SIGTERM","SIGINT","SIGHUP"],"debug":false},"schedules":{},"beat":1,"lease":30.0,"state":"running","jobs":0,"uuids":[],"memory":73785344,"descriptors":{"open":18,"limit":20000},"renewedAt":"2026-12-01T01:18:10.403878+00:00","heldTypes":[],"knows":[["parcel",1.0]],"held":[],"claiming":null,"rates":{"id":"756c7530e8858510","leaseLosses":0,"collisions":0,"repairs":0,"types":{}}}', '{"startedAt":"2026-12-01T01:18:09.619137+00:00"}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (14, 'zerog_rates_hour_2026-12-01T00', 18121333525053699, '{"documentType":"zerog_rates_hour","before":{"types":{},"leaseLosses":0,"collisions":0,"repairs":0},"totals":{"leaseLosses":0,"collisions":0,"repairs":0,"types":{"parcel":{"requeued":[1,83,200,0,1,0,0,0,0,0,0,0,0,0,0],"failed":[1,21,301,0,1,0,0,0,0,0,0,0,0,0,0],"succeeded":[1,11,72,1,0,0,0,0,0,0,0,0,0,0,0]}}}}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (13, 'zerog_rates', 25484742218101924, '{"documentType":"zerog_rates","minutes":[29934797,29934797],"hours":[498912,498912]}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, '', '');
INSERT INTO golden.zerog_documents OVERRIDING SYSTEM VALUE VALUES (16, 'zerog_job_01a22f2e-4356-7ded-a2c6-e5b5e6ed15bc', 10247834701838022, '{"documentType":"zerog_job","uuid":"01a22f2e-4356-7ded-a2c6-e5b5e6ed15bc","logId":"e6ed15bc","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"later","weight":1.5,"leg":0,"stops":[]}', '{"jobType":"parcel","schemaVersion":1.0,"format":1,"createdAt":"2026-12-01T01:18:10.774809+00:00","updatedAt":"2026-12-01T01:18:10.784347+00:00","queueName":"default","queueState":"queued","queuedAt":"2026-12-01T01:18:10.784347+00:00","notBefore":"2026-12-01T02:18:10.784347+00:00","due":null,"status":"scheduled","epoch":0,"seq":0,"owner":null,"running":false,"attempts":0,"errorCount":0,"crashes":0,"lost":0,"continues":0,"startedAt":null,"finishedAt":null,"cancelRequested":null,"completeness":0.0,"tickcount":0.0,"resultCode":-1,"queueJobId":7}', '{"events":[1,0],"errors":[1,0],"warnings":[1,0]}', 'scheduled', 'parcel', 'default', NULL, '2026-12-01T01:18:10.774809+00:00', NULL, '["parcel",1.0]', '2026-12-01T02:18:10.784347+00:00', 0, 0, true, '', '');


--
-- Data for Name: zerog_history; Type: TABLE DATA; Schema: golden; Owner: -
--

INSERT INTO golden.zerog_history VALUES (1, 'events', 1, '{"timestamp":"2026-12-01T01:18:09.176483+00:00","msg":"began"}');
INSERT INTO golden.zerog_history VALUES (1, 'warnings', 1, '{"timestamp":"2026-12-01T01:18:09.258750+00:00","msg":"on its way"}');
INSERT INTO golden.zerog_history VALUES (2, 'events', 1, '{"timestamp":"2026-12-01T01:18:09.308622+00:00","msg":"began"}');
INSERT INTO golden.zerog_history VALUES (2, 'errors', 1, '{"timestamp":"2026-12-01T01:18:09.329121+00:00","errorCode":500,"msg":"ValueError: no address","type":"ValueError","traceback":"Traceback (most recent call last):\n  File \"/srv/////////////zerog/worker/execute.py\", line 149, in _attempt\n    value = call()\n            ^^^^^^\n  File \"/srv/////////////zerog/worker/execute.py\", line 94, in <lambda>\n    return conclude(job, begin(job), lambda: called(job))\n                                             ^^^^^^^^^^^\n  File \"/srv/////////////zerog/worker/hooks.py\", line 29, in called\n    return _result(job, job.run())\n                        ^^^^^^^^^\n  File \"/srv/////////////tests/golden/parcels.py\", line 36, in run\n    raise ValueError(\"no address\")\nValueError: no address\n","fingerprint":"a63c657b0ea988ec","where":"tests.golden.parcels.Parcel.run: raise ValueError(\"no address\")","attempt":1}');
INSERT INTO golden.zerog_history VALUES (1, 'events', 2, '{"timestamp":"2026-12-01T01:18:09.352659+00:00","msg":"began"}');
INSERT INTO golden.zerog_history VALUES (10, 'events', 1, '{"timestamp":"2026-12-01T01:18:10.601852+00:00","msg":"began"}');


--
-- Data for Name: zerog_queue; Type: TABLE DATA; Schema: golden; Owner: -
--

INSERT INTO golden.zerog_queue VALUES (6, 'default', '01a22f2e-4350-757c-b7df-d65fa86a4cfb', 0, 0, 60, NULL);
INSERT INTO golden.zerog_queue VALUES (7, 'default', '01a22f2e-4356-7ded-a2c6-e5b5e6ed15bc', 0, 1796091490.784399, 60, NULL);


--
-- Data for Name: zerog_terms; Type: TABLE DATA; Schema: golden; Owner: -
--

INSERT INTO golden.zerog_terms VALUES ('', 'ValueError', '2026-12-01T01:18:08.959951+00:00', 'zerog_job_01a22f2e-3c40-707b-aa3d-ed33d7d993c3', 2);
INSERT INTO golden.zerog_terms VALUES ('', 'a63c657b0ea988ec', '2026-12-01T01:18:08.959951+00:00', 'zerog_job_01a22f2e-3c40-707b-aa3d-ed33d7d993c3', 2);


--
-- Data for Name: zerog_version; Type: TABLE DATA; Schema: golden; Owner: -
--

INSERT INTO golden.zerog_version VALUES (2);


--
-- Name: zerog_ahead; Type: SEQUENCE SET; Schema: golden; Owner: -
--

SELECT pg_catalog.setval('golden.zerog_ahead', -2, false);


--
-- Name: zerog_documents_id_seq; Type: SEQUENCE SET; Schema: golden; Owner: -
--

SELECT pg_catalog.setval('golden.zerog_documents_id_seq', 16, true);


--
-- Name: zerog_entries; Type: SEQUENCE SET; Schema: golden; Owner: -
--

SELECT pg_catalog.setval('golden.zerog_entries', 7, true);


--
-- Name: zerog_documents zerog_documents_key_key; Type: CONSTRAINT; Schema: golden; Owner: -
--

ALTER TABLE ONLY golden.zerog_documents
    ADD CONSTRAINT zerog_documents_key_key UNIQUE (key);


--
-- Name: zerog_documents zerog_documents_pkey; Type: CONSTRAINT; Schema: golden; Owner: -
--

ALTER TABLE ONLY golden.zerog_documents
    ADD CONSTRAINT zerog_documents_pkey PRIMARY KEY (id);


--
-- Name: zerog_history zerog_history_pkey; Type: CONSTRAINT; Schema: golden; Owner: -
--

ALTER TABLE ONLY golden.zerog_history
    ADD CONSTRAINT zerog_history_pkey PRIMARY KEY (document, field, n);


--
-- Name: zerog_queue zerog_queue_pkey; Type: CONSTRAINT; Schema: golden; Owner: -
--

ALTER TABLE ONLY golden.zerog_queue
    ADD CONSTRAINT zerog_queue_pkey PRIMARY KEY (id);


--
-- Name: zerog_by_creation; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_creation ON golden.zerog_documents USING btree (created, key) WHERE (created IS NOT NULL);


--
-- Name: zerog_by_due; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_due ON golden.zerog_documents USING btree (due, key) WHERE (due IS NOT NULL);


--
-- Name: zerog_by_end; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_end ON golden.zerog_documents USING btree (status, job_type, finished, key) WHERE (finished IS NOT NULL);


--
-- Name: zerog_by_status; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_status ON golden.zerog_documents USING btree (status, key);


--
-- Name: zerog_by_status_and_creation; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_status_and_creation ON golden.zerog_documents USING btree (status, created, key) WHERE (created IS NOT NULL);


--
-- Name: zerog_by_term; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_by_term ON golden.zerog_terms USING btree (name, term, created, key);


--
-- Name: zerog_later; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_later ON golden.zerog_queue USING btree (due) WHERE (due > (0)::double precision);


--
-- Name: zerog_ready; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_ready ON golden.zerog_queue USING btree (queue, priority DESC, id) WHERE (due = (0)::double precision);


--
-- Name: zerog_terms_of; Type: INDEX; Schema: golden; Owner: -
--

CREATE INDEX zerog_terms_of ON golden.zerog_terms USING btree (document);


--
-- Name: zerog_documents zerog_changed; Type: TRIGGER; Schema: golden; Owner: -
--

CREATE TRIGGER zerog_changed AFTER UPDATE OF attrs, error, created ON golden.zerog_documents FOR EACH ROW WHEN ((((old.attrs IS DISTINCT FROM new.attrs) OR (old.error IS DISTINCT FROM new.error)) OR (old.created IS DISTINCT FROM new.created))) EXECUTE FUNCTION golden.zerog_enter_terms();


--
-- Name: zerog_documents zerog_gone; Type: TRIGGER; Schema: golden; Owner: -
--

CREATE TRIGGER zerog_gone AFTER DELETE ON golden.zerog_documents FOR EACH ROW WHEN (((old.attrs <> ''::text) OR (old.error <> ''::text))) EXECUTE FUNCTION golden.zerog_enter_terms();


--
-- Name: zerog_documents zerog_made; Type: TRIGGER; Schema: golden; Owner: -
--

CREATE TRIGGER zerog_made AFTER INSERT ON golden.zerog_documents FOR EACH ROW WHEN (((new.attrs <> ''::text) OR (new.error <> ''::text))) EXECUTE FUNCTION golden.zerog_enter_terms();


--
-- PostgreSQL database dump complete
--

\unrestrict IXhSZn62fdX2pI8u8bUJXUr7AsE0VJ94B7oHQdW8fNZqL2f1Uep4hbdW00dHqYm

